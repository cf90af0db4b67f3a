# Licensed under the Apache License 2.0; see LICENSE.
"""The event store that both SDK generations ask for, so that a stream can be resumed. Everything is kept, in order."""


class EventMemory:
    def __init__(self, envelope):
        self.envelope, self.events = envelope, []

    async def store_event(self, stream_id, message):
        self.events.append((stream_id, message))
        return f"{stream_id}/{len(self.events)}"

    async def replay_events_after(self, last_event_id, send):
        stream_id, _, number = last_event_id.rpartition("/")
        if not number.isdigit() or not stream_id:
            return None
        for at in range(int(number), len(self.events)):
            stream, message = self.events[at]
            # A message of None marks where a connection began; there is nothing in it to send.
            if stream == stream_id and message is not None:
                await send(self.envelope(message, f"{stream_id}/{at + 1}"))
        return stream_id
