-- An announcement's text is its content now; a course has each title once. Fails, half done, where one has it twice.
ALTER TABLE announcement CHANGE COLUMN body content TEXT NOT NULL;
ALTER TABLE announcement ADD UNIQUE KEY announcement_title (course, title);
