-- The index of listings, partial by a condition that each of them implies (they name the queue) and a look-up by id does not.
--
-- Its last column is the id. Where the planner takes the table for empty, this index looked as good for a task by its id as the primary
-- key, and a claim or a settle whose plan is kept (src/store/kept-plan.ts) would read all of it for every task, until the next analyze.
-- Writes wait while it is built: some seconds for a million tasks.
create index tasks_listed on lapse.tasks (queue, state, due_at, id) where queue is not null;
drop index lapse.tasks_list;
alter index lapse.tasks_listed rename to tasks_list;
