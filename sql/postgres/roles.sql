-- The roles of the two programs, made once by somebody who may make roles, in the fleet's database:
--
--     psql fleet -f roles.sql
--
-- The database belongs to a third role, which makes the tables: `fleet-collector maintain-storage` as that one also grants
-- these two what grants.sql says. A password or a certificate for each is the administrator's to add.

DO $$ BEGIN
    CREATE ROLE fleet_collector LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

DO $$ BEGIN
    CREATE ROLE fleet_alerter LOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;

-- Since PostgreSQL 15 that is so anyway.
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
