"""Tables of many systems: rows, cells, charts, markdown and page of tables and ablations."""
