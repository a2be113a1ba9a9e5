-- v2 knows no message without a campaign. From here on the schema is v2's.
ALTER TABLE message ALTER COLUMN campaign SET NOT NULL;
UPDATE installation SET schema = 2;
