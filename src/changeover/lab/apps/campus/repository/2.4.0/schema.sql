CREATE TABLE announcement (
    id INT AUTO_INCREMENT PRIMARY KEY,
    course VARCHAR(40) NOT NULL,
    title VARCHAR(200) NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX announcement_course ON announcement (course);
INSERT INTO announcement (course, title, body) VALUES
    ('botany', 'Excursion', 'We meet at the glasshouse at nine.'),
    ('botany', 'Marks', 'They are on the door.'),
    ('logic', 'No lecture', 'This follows from last week.');
