"""Every system of the tables: what it reads, how it is made, trained and scored on each fold."""
