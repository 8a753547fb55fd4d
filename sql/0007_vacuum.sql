-- How tasks are vacuumed where millions wait.
--
-- A vacuum goes through every index from end to end, however few rows died. With 10,000,000 tasks that wait, 110,000 dead rows (at 1,000 tasks
-- a second each minute) took it 6.1 s of a core and 3.5 GB of reads, and 500,000 of them 16.7 s; it took the disk, too, while tasks fell
-- due. So it comes a fifth as often there, and rests between its pages. Where few wait nothing changes: once a minute is the most that a
-- server with its usual autovacuum_naptime does. Until then the dead take a twentieth more space, and the look at the due index, once a
-- second, passes over them (7 ms for 200,000).
alter table lapse.tasks set (
  autovacuum_vacuum_scale_factor = 0.05,
  autovacuum_vacuum_cost_delay = 2,
  autovacuum_vacuum_cost_limit = 1000
);
