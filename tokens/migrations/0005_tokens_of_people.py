"""The list of people is sorted by the number of their tokens that are neither revoked nor expired."""

from django.db import migrations

BEGIN = """
CREATE FUNCTION person_standing_count_tokens(people bigint[]) RETURNS void LANGUAGE sql AS $$
    UPDATE person_standing AS s SET tokens = c.number, ends = c.ends
      FROM unnest(people) AS p (id) CROSS JOIN LATERAL (
          SELECT count(*) AS number, min(expires) AS ends FROM user_token AS t
           WHERE t.person_id = p.id AND t.revoked IS NULL AND (t.expires IS NULL OR t.expires > now())) AS c
     WHERE s.person_id = p.id;
$$;
CREATE FUNCTION person_standing_token_comes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM person_standing_count_tokens(ARRAY(SELECT DISTINCT person_id FROM changed));
    RETURN NULL;
END $$;
CREATE FUNCTION person_standing_token_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM person_standing_count_tokens(ARRAY[NEW.person_id]);
    RETURN NULL;
END $$;
CREATE TRIGGER user_token_comes AFTER INSERT ON user_token REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION person_standing_token_comes();
CREATE TRIGGER user_token_changes AFTER UPDATE ON user_token FOR EACH ROW
    WHEN (OLD.revoked IS DISTINCT FROM NEW.revoked OR OLD.expires IS DISTINCT FROM NEW.expires)
    EXECUTE FUNCTION person_standing_token_changes();
SELECT person_standing_count_tokens(ARRAY(SELECT DISTINCT person_id FROM user_token));
"""
UNDO = """
DROP TRIGGER user_token_comes ON user_token;
DROP TRIGGER user_token_changes ON user_token;
DROP FUNCTION person_standing_token_comes();
DROP FUNCTION person_standing_token_changes();
DROP FUNCTION person_standing_count_tokens(bigint[]);
"""


class Migration(migrations.Migration):
    dependencies = [("tokens", "0004_orders_of_lists"), ("spend", "0009_person_standing")]
    operations = [migrations.RunSQL(BEGIN, UNDO)]
