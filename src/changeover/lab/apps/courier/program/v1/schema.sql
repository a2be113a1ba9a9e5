-- The schema of release v1.
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO setting VALUES ('qa_diagnostic', 'OFF');

CREATE TABLE deployment (
    name TEXT PRIMARY KEY,
    active BOOLEAN NOT NULL,
    flush BOOLEAN NOT NULL DEFAULT false,
    last BIGINT NOT NULL DEFAULT 0
);
INSERT INTO deployment (name, active) VALUES ('alerts', true), ('newsletter', true), ('winback', false);

-- SENT: that it was, is known from a storage log that was worked off.
CREATE TABLE message (
    deployment TEXT NOT NULL REFERENCES deployment,
    number BIGINT NOT NULL,
    campaign TEXT,
    node TEXT NOT NULL,
    sent BOOLEAN NOT NULL DEFAULT false,
    PRIMARY KEY (deployment, number)
);

-- One row for each storage log. STATUS_CODE: 10 written, 20 being worked off, 30 worked off, 40 ignored.
CREATE TABLE storage_history (
    id BIGSERIAL PRIMARY KEY,
    deployment TEXT NOT NULL REFERENCES deployment,
    node TEXT NOT NULL,
    file TEXT NOT NULL,
    records INTEGER NOT NULL DEFAULT 0,
    status_code INTEGER NOT NULL,
    UNIQUE (node, file)
);

-- Whose schema it is: no release starts on another's. Last, because nodes start on what they find here.
CREATE TABLE installation AS SELECT 1 AS schema;
