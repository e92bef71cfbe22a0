"""What `workbench report` makes of a record: one HTML file to mail, and its figures."""
