-- How fast each vehicle was in each hour of a day.
select
  id,
  hour,
  count(*) as measurements,
  avg(speed) as mean_speed,
  max(speed) as top_speed
from vehicle_kinematic_report
where ymd = '2023-01-01'
group by id, hour
order by id, hour
