-- v2 keeps with each storage log since when it is known.
ALTER TABLE storage_history ADD COLUMN written TIMESTAMPTZ NOT NULL DEFAULT now();
