"""The lines of a stream of server-sent events, put together into the fields of each event."""


def events_of(lines):
    """Yields {field: value} for each event, also one without data; a comment has the name "", the last of each name counts."""
    fields = {}
    for line in lines:
        text = line.decode()
        if text:
            name, _, value = text.partition(":")
            fields[name] = value.removeprefix(" ")
        else:
            yield fields
            fields = {}
