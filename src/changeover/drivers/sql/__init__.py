"""What the drivers of SQL databases share. A dialect (`postgresql`, `mariadb`) holds what its server does its own way."""
