-- Which host a run was on: a storage that several share tells them apart by it, and status shows it.

ALTER TABLE run ADD COLUMN host TEXT NOT NULL DEFAULT '';
