-- The application's schema as v1 wants it; it reads the same to PostgreSQL and MariaDB.
CREATE TABLE IF NOT EXISTS notes (
    id VARCHAR(64) PRIMARY KEY,
    body VARCHAR(2000) NOT NULL,
    folded VARCHAR(2000)
);
