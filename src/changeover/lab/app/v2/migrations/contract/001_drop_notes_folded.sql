-- v2 folds case when it searches; only v1 writes the folded body.
ALTER TABLE notes DROP COLUMN folded;
