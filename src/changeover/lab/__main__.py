from changeover.lab.cli import app

app(prog_name="changeover lab")
