/*
description = """
How long it took to control a vehicle from afar: each command with its response. A command belongs to the day in which it \
was sent; a response counts until the end of the next day. Of several responses to a command, the last one that says how \
it ended counts."""
owner = "remote-control@example.com"
grain = "a command"
keys = ["id", "request_id"]
columns = """
id            bigint     the vehicle
request_id    string     the name of the command
action        string     LOCK, UNLOCK, HORN, HAZARD or IMMOBILIZE
requested_at  timestamp  when it was asked for
responded_at  timestamp  when the vehicle sent its last response; null without one
result        string     how it ended; ACCEPTED if only that is known, and NONE without a response
latency_s     double     seconds from the request until that response; null without one
is_late       boolean    whether the response came after the command had expired, or never
"""

[sources.vehicle_control_command]
columns = """
id bigint, request_id string, action string, requested_at timestamp, expires_at timestamp, messaged_at timestamp"""

[sources.vehicle_control_response]
reads = "1 day after"
columns = "id bigint, request_id string, result string, messaged_at timestamp"

[[examples]]
name = "a success, a response that is late, and none"
given.vehicle_control_command = """
id | request_id | action | requested_at         | expires_at           | messaged_at
7  | A          | LOCK   | 2023-01-01T00:00:00Z | 2023-01-01T00:00:30Z | 2023-01-01T00:00:01Z
7  | A          | LOCK   | 2023-01-01T00:00:00Z | 2023-01-01T00:00:30Z | 2023-01-01T00:00:01Z
7  | B          | HORN   | 2023-01-01T23:59:50Z | 2023-01-02T00:00:20Z | 2023-01-01T23:59:50Z
8  | C          | UNLOCK |                      | 2023-01-01T00:00:31Z | 2023-01-01T00:00:01Z
"""
given.vehicle_control_response = """
id | ymd        | request_id | result   | messaged_at
7  | 2023-01-01 | A          | SUCCESS  | 2023-01-01T00:00:04.5Z
7  | 2023-01-01 | A          | ACCEPTED | 2023-01-01T00:00:02Z
7  | 2023-01-02 | B          | TIMEOUT  | 2023-01-02T00:00:30Z
"""
expect = """
id | request_id | action | requested_at         | responded_at           | result  | latency_s | is_late
7  | A          | LOCK   | 2023-01-01T00:00:00Z | 2023-01-01T00:00:04.5Z | SUCCESS | 4.5       | false
7  | B          | HORN   | 2023-01-01T23:59:50Z | 2023-01-02T00:00:30Z   | TIMEOUT | 40        | true
8  | C          | UNLOCK | 2023-01-01T00:00:01Z |                        | NONE    |           | true
"""
*/
with commands as (
  select
    ymd, id, request_id,
    max(action) as action,
    min(coalesce(requested_at, messaged_at)) as requested_at,
    max(expires_at) as expires_at
  from vehicle_control_command
  where id is not null and request_id is not null
  group by ymd, id, request_id
),
responses as (
  select
    id, request_id, result, messaged_at,
    row_number() over (
      partition by id, request_id
      order by case when result = 'ACCEPTED' then 1 else 0 end, messaged_at desc, result
    ) as number
  from vehicle_control_response
)
select
  commands.ymd,
  commands.id,
  commands.request_id,
  commands.action,
  commands.requested_at,
  responses.messaged_at as responded_at,
  coalesce(responses.result, 'NONE') as result,
  round(extract(epoch from responses.messaged_at) - extract(epoch from commands.requested_at), 3) as latency_s,
  coalesce(responses.messaged_at > commands.expires_at, responses.messaged_at is null) as is_late
from commands
left join responses
  on responses.id = commands.id and responses.request_id = commands.request_id and responses.number = 1
