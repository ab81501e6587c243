/*
description = """
How calmly a vehicle was driven on a day, from 0 to 100. From 100, for each 100 km are taken: 3 points for a harsh brake, \
2 for a harsh acceleration, 2 for a harsh corner, and 3 for driving too fast; never more than 100. A day of less than 1 km \
has no score, for one event would decide it."""
owner = "safety@example.com"
grain = "a vehicle on a day on which it drove 1 km or more"
keys = ["id"]
columns = """
id               bigint  the vehicle
score            double  points from 0 to 100, which is the best
distance_km      double  km that were driven
events           bigint  how many events the score is made of
events_per_100km double  events for each 100 km
"""

[sources.daily_vehicle]

[checks]
"a score is from 0 to 100" = "score between 0 and 100"

[[examples]]
name = "points are taken for each 100 km"
given.daily_vehicle = """
id | distance_km | harsh_brakes | harsh_accels | harsh_corners | overspeeds
1  | 200         | 2            | 1            | 0             | 0
2  | 10          | 3            | 0            | 1             | 2
3  | 2           | 1            | 1            | 0             | 0
4  | 0.9         | 1            | 0            | 0             | 0
5  | 80          | 0            | 0            | 0             | 0
"""
# 1: 2 * 3 + 2 = 8 points on 200 km are 4 on 100 km. 2: 9 + 2 + 6 = 17 points on 10 km are 170. 3: 5 points on 2 km are 250.
expect = """
id | score | distance_km | events | events_per_100km
1  | 96.0  | 200         | 3      | 1.5
2  | 0.0   | 10          | 6      | 60.0
3  | 0.0   | 2           | 2      | 100.0
5  | 100.0 | 80          | 0      | 0.0
"""
*/
select
  ymd,
  id,
  greatest(
    cast(0 as double precision),
    100 - (3 * harsh_brakes + 2 * harsh_accels + 2 * harsh_corners + 3 * overspeeds) * 100 / distance_km
  ) as score,
  distance_km,
  harsh_brakes + harsh_accels + harsh_corners + overspeeds as events,
  (harsh_brakes + harsh_accels + harsh_corners + overspeeds) * 100 / distance_km as events_per_100km
from daily_vehicle
where distance_km >= 1
