"""Ways to end the sign-ins of a user by raw SQL, past all code of the project."""
# ruff: noqa: S608 (all parts of the statements are constants)

from django.db import connection, transaction

from accounts.models import User

NOW = "CURRENT_TIMESTAMP"


def execute(*statements):
    """Runs the statements in one transaction. Each has the id of the user as its one parameter, if it has any."""
    with transaction.atomic(), connection.cursor() as cursor:
        for sql, *parameters in statements:
            cursor.execute(sql, parameters)


def set_a_password(user):
    execute(("UPDATE accounts_user SET password = 'md5$salt$of-another' WHERE id = %s", user.pk))


def set_the_old_password(user):
    execute(("UPDATE accounts_user SET password = %s WHERE id = %s", user.password, user.pk))


def deactivate(user):
    execute(("UPDATE accounts_user SET is_active = false WHERE id = %s", user.pk))


def reactivate(user):
    execute(("UPDATE accounts_user SET is_active = true WHERE id = %s", user.pk))


def make_a_service(user):
    execute(("UPDATE accounts_user SET is_service = true WHERE id = %s", user.pk))


def make_a_person(user):
    execute(("UPDATE accounts_user SET is_service = false WHERE id = %s", user.pk))


def end_sign_ins(user):
    execute((f"UPDATE accounts_signin SET ended_at = {NOW} WHERE user_id = %s", user.pk))


def delete_sessions(user):
    execute(_delete_sessions(user))


def delete_sign_ins(user):
    execute(_delete_sessions(user), ("DELETE FROM accounts_signin WHERE user_id = %s", user.pk))


def delete_sign_ins_before_their_sessions(user):
    ids = "SELECT s.session_key FROM accounts_session s JOIN accounts_signin i ON i.id = s.sign_in_id"
    with connection.cursor() as cursor:
        cursor.execute(f"{ids} WHERE i.user_id = %s", [user.pk])
        keys = cursor.fetchall()
    delete = [("DELETE FROM accounts_session WHERE session_key = %s", key) for (key,) in keys]
    execute(("DELETE FROM accounts_signin WHERE user_id = %s", user.pk), *delete)


def delete_the_user_last(user):
    execute(*_delete_rows_of(user), ("DELETE FROM accounts_user WHERE id = %s", user.pk))


def delete_the_user_first(user):
    execute(("DELETE FROM accounts_user WHERE id = %s", user.pk), *_delete_rows_of(user))


def _delete_sessions(user):
    sign_ins = "SELECT id FROM accounts_signin WHERE user_id = %s"
    return f"DELETE FROM accounts_session WHERE sign_in_id IN ({sign_ins})", user.pk


def _delete_rows_of(user):
    """The statements that delete the rows which refer to the user, in all apps."""
    yield _delete_sessions(user)
    quote = connection.ops.quote_name
    for relation in User._meta.get_fields(include_hidden=True):
        if not relation.is_relation or not relation.auto_created or relation.many_to_many:
            continue
        table, column = relation.related_model._meta.db_table, relation.field.column
        verb = (
            f"UPDATE {quote(table)} SET {quote(column)} = NULL"
            if relation.field.null
            else f"DELETE FROM {quote(table)}"
        )
        yield f"{verb} WHERE {quote(column)} = %s", user.pk


# Each way, and the way to set the value back.
WAYS = {
    "a new password": (set_a_password, set_the_old_password),
    "deactivated": (deactivate, reactivate),
    "made a service": (make_a_service, make_a_person),
    "sign-ins ended": (end_sign_ins, None),
    "sign-ins deleted": (delete_sign_ins, None),
    "sign-ins deleted first": (delete_sign_ins_before_their_sessions, None),
    "user deleted last": (delete_the_user_last, None),
    "user deleted first": (delete_the_user_first, None),
}
