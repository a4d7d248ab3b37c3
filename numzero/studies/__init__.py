"""What a run, or many runs, say: studies over seeds, their results and tables, findings, and the report's page."""
