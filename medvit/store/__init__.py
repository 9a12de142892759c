"""The database: runs, cases, findings, decisions."""
