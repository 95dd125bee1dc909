"""The list of people is sorted by the number of their projects."""

from django.db import migrations

BEGIN = """
CREATE FUNCTION person_standing_projects() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE person_standing AS s SET projects = c.number
      FROM (SELECT p.person_id, (SELECT count(*) FROM project_membership AS m WHERE m.person_id = p.person_id) AS number
              FROM (SELECT DISTINCT person_id FROM changed) AS p) AS c
     WHERE s.person_id = c.person_id AND s.projects <> c.number;
    RETURN NULL;
END $$;
CREATE TRIGGER project_membership_comes AFTER INSERT ON project_membership REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION person_standing_projects();
CREATE TRIGGER project_membership_goes AFTER DELETE ON project_membership REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION person_standing_projects();
UPDATE person_standing AS s SET projects = m.number
  FROM (SELECT person_id, count(*) AS number FROM project_membership GROUP BY 1) AS m WHERE m.person_id = s.person_id;
"""
UNDO = """
DROP TRIGGER project_membership_comes ON project_membership;
DROP TRIGGER project_membership_goes ON project_membership;
DROP FUNCTION person_standing_projects();
"""


class Migration(migrations.Migration):
    dependencies = [("projects", "0009_search_indexes"), ("spend", "0009_person_standing")]
    operations = [migrations.RunSQL(BEGIN, UNDO)]
