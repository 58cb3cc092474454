-- An expansion: live keys are found among any number of revoked ones.
CREATE INDEX IF NOT EXISTS "api_keys_live" ON "api_keys" ("revoked_s","expires_s");
