"""/api/: every object of the web UI as REST, its OpenAPI schema and documentation."""
