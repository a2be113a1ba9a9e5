-- Whom an announcement is for.
ALTER TABLE announcement ADD COLUMN audience VARCHAR(20) NOT NULL DEFAULT 'course';
