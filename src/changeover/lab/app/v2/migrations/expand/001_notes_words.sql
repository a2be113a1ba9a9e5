-- v2 keeps the number of words with each note; v1 does not know the column and leaves it at its default.
ALTER TABLE notes ADD COLUMN words INTEGER NOT NULL DEFAULT 0;
