import jakarta.servlet.ServletContextEvent;
import jakarta.servlet.ServletContextListener;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.Driver;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import java.util.logging.Level;
import java.util.logging.Logger;

/**
 * Announcements of courses. What differs between releases is in release.properties; what an operator sets, in
 * /etc/campus/campus.properties; how it misbehaves, in files of /var/lib/campus/faults/RELEASE.
 */
public class Campus extends HttpServlet implements ServletContextListener {
    private static final Logger LOG = Logger.getLogger("campus");
    private static final Path FAULTS = Path.of("/var/lib/campus/faults");
    private static final Properties release = new Properties();
    private static final Properties config = new Properties();

    @Override
    public void contextInitialized(ServletContextEvent event) {
        try {
            release.load(Campus.class.getResourceAsStream("/release.properties"));
            try (InputStream file = Files.newInputStream(Path.of("/etc/campus/campus.properties"))) {
                config.load(file);
            }
            String slow = fault("slow-start");
            if (slow != null) {
                Thread.sleep((long) (Double.parseDouble(slow) * 1000));
            }
            if (fault("fail-start") != null) {
                throw new IllegalStateException("told to fail");
            }
            DriverManager.registerDriver((Driver) Class.forName("org.mariadb.jdbc.Driver").getConstructor().newInstance());
            try (Connection database = connect()) {
                if (Boolean.parseBoolean(config.getProperty("auto.ddl"))) {
                    updateSchema(database);
                }
                try (Statement statement = database.createStatement()) {
                    statement.executeQuery(release.getProperty("needs")).close();
                }
            }
            if (fault("log-errors") != null) {
                LOG.log(Level.SEVERE, "The course catalogue is damaged", new IllegalStateException("told to say so"));
            }
            LOG.info("Campus " + version() + " is ready");
        } catch (Exception error) {
            throw new IllegalStateException("Campus " + release.getProperty("version") + " cannot start: " + error, error);
        }
    }

    @Override
    public void contextDestroyed(ServletContextEvent event) {
        for (Driver driver : DriverManager.drivers().toList()) {
            try {
                DriverManager.deregisterDriver(driver);
            } catch (SQLException error) {
                LOG.log(Level.WARNING, "a driver stays registered", error);
            }
        }
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse answer) throws IOException {
        switch (request.getRequestURI()) {
            case "/health" -> health(answer);
            case "/version" -> say(answer, 200, "{\"version\": \"" + version() + "\", \"node\": \"" + config.getProperty("node") + "\"}");
            case "/announcements" -> list(request.getParameter("course"), answer);
            case "/" -> say(answer, 200, "Campus " + version());
            default -> say(answer, 404, "there is nothing");
        }
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse answer) throws IOException {
        try (Connection database = connect();
                PreparedStatement insert = database.prepareStatement(release.getProperty("insert"))) {
            insert.setString(1, request.getParameter("course"));
            insert.setString(2, request.getParameter("title"));
            insert.setString(3, request.getParameter("text"));
            insert.executeUpdate();
            say(answer, 201, "written");
        } catch (SQLException error) {
            fail(answer, error);
        }
    }

    private void list(String course, HttpServletResponse answer) throws IOException {
        StringBuilder lines = new StringBuilder();
        try (Connection database = connect();
                PreparedStatement select = database.prepareStatement(release.getProperty("select"))) {
            select.setString(1, course);
            try (ResultSet rows = select.executeQuery()) {
                while (rows.next()) {
                    lines.append(rows.getString(1)).append('\t').append(rows.getString(2)).append('\n');
                }
            }
            say(answer, 200, lines.toString());
        } catch (SQLException error) {
            fail(answer, error);
        }
    }

    private void health(HttpServletResponse answer) throws IOException {
        try (Connection database = connect(); Statement statement = database.createStatement()) {
            statement.executeQuery(release.getProperty("needs")).close();
            say(answer, 200, "healthy");
        } catch (SQLException error) {
            say(answer, 503, "not healthy: " + error.getMessage());
        }
    }

    private static void updateSchema(Connection database) throws SQLException {
        try (Statement statement = database.createStatement()) {
            for (int i = 1; release.containsKey("ddl." + i); i++) {
                String ddl = release.getProperty("ddl." + i);
                try {
                    statement.execute(ddl);
                } catch (SQLException error) {
                    LOG.severe("schema update: unsuccessful: " + ddl + ": " + error.getMessage());
                }
            }
        }
    }

    private static Connection connect() throws SQLException {
        return DriverManager.getConnection(
                config.getProperty("database.url"),
                config.getProperty("database.user"),
                config.getProperty("database.password"));
    }

    private static String version() throws IOException {
        String told = fault("wrong-version");
        return told == null ? release.getProperty("version") : told;
    }

    private static String fault(String name) throws IOException {
        Path file = FAULTS.resolve(release.getProperty("version")).resolve(name);
        return Files.exists(file) ? Files.readString(file).strip() : null;
    }

    private static void fail(HttpServletResponse answer, SQLException error) throws IOException {
        LOG.log(Level.SEVERE, "the database does not take it", error);
        say(answer, 500, "the database does not take it");
    }

    private static void say(HttpServletResponse answer, int status, String text) throws IOException {
        answer.setStatus(status);
        answer.setContentType(text.startsWith("{") ? "application/json" : "text/plain;charset=utf-8");
        answer.getWriter().println(text);
    }
}
