// Owns the checks of how a crontab is read: what of it becomes a job, and what is refused with its line.

import { describe, expect, test } from "vitest";
import { readCrontabFile } from "../../src/cli/crontab-file.ts";

const read = (...lines: string[]) => readCrontabFile(lines.join("\n"), "Europe/London");
const jobs = (...lines: string[]) => read(...lines).jobs;
const faults = (...lines: string[]) => read(...lines).faults.map(({ line, message }) => `${line}: ${message}`);

test("a job has its line, its times, its zone and its command", () => {
  expect(jobs("# m h dom mon dow", "", "  30\t5 * *  mon-fri   /usr/bin/report --all  # nightly ")).toEqual([
    {
      line: 3,
      expression: "30 5 * * mon-fri",
      timezone: "Europe/London",
      command: "/usr/bin/report --all  # nightly",
      stdin: null,
      env: {},
    },
  ]);
});

test("an @ name stands in place of the five fields, and lines may end as on Windows", () => {
  const file = readCrontabFile("@daily backup\r\n@Hourly  sync\r\n", "UTC");
  expect(file.jobs.map(({ expression, command }) => [expression, command])).toEqual([
    ["@daily", "backup"],
    ["@Hourly", "sync"],
  ]);
});

test("CRON_TZ is the zone of the lines below it, and other assignments are their environment", () => {
  const [first, second, third] = jobs(
    "@daily one",
    "CRON_TZ=Asia/Shanghai",
    'PATH = "/usr/bin:/bin"',
    "@daily two",
    "CRON_TZ = 'UTC'",
    "NAME='a b' ",
    "PATH=/bin",
    "@daily A=1 three",
  );
  expect(first).toMatchObject({ timezone: "Europe/London", env: {} });
  expect(second).toMatchObject({ timezone: "Asia/Shanghai", env: { PATH: "/usr/bin:/bin" } });
  expect(third).toMatchObject({ timezone: "UTC", command: "A=1 three", env: { PATH: "/bin", NAME: "a b" } });
});

test("what follows the first % is standard input, and \\% is a %", () => {
  expect(jobs("@daily date +\\%F; mail joe%Joe,%%Where are you at 100\\%?")).toMatchObject([
    { command: "date +%F; mail joe", stdin: "Joe,\n\nWhere are you at 100%?" },
  ]);
});

describe("refused, with its line, is", () => {
  const neither = "it is neither an assignment nor five fields (or an @ name) and a command";
  const both =
    "a day field that begins with * stands beside a restricted one: cron fires where both match, Lapse where either does";

  test.each([
    ["@reboot start", "@reboot: no time of day can be told from it"],
    ["0 5 * * *", neither],
    ["hello", neither],
    ["@daily", neither],
    [
      "60 5 * * foo run",
      'minute: "60" is not from 0 to 59; day of week: "foo" is none of sun, mon, tue, wed, thu, fri, sat',
    ],
    ["@fortnightly run", '"@fortnightly" is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly'],
    ["0~30 5 * * * run", 'minute: "0~30" is not *, */n, a, a-b, a-b/n or a/n'],
    ["0 5 */2 * mon run", both],
    ["0 5 1 * */2 run", both],
    [
      "MAILTO=root@example.org",
      "MAILTO: Lapse sends no mail: have the receiver do it, and remove the line or leave it empty",
    ],
    ["RANDOM_DELAY=5", "RANDOM_DELAY: set the schedules' jitter instead, and remove the line"],
    ["TZ=UTC", "TZ: cron programs differ in whether it moves the times: write CRON_TZ for that, or remove the line"],
    ["CRON_TZ=Mars/Olympus", 'CRON_TZ: "Mars/Olympus" is no IANA time zone'],
  ])("%s", (line, fault) => {
    expect(faults("# first", "@daily well", line)).toEqual([`3: ${fault}`]);
    expect(jobs("# first", "@daily well", line)).toHaveLength(1);
  });

  test("every line that cannot be kept, not the first alone", () => {
    expect(faults("@reboot a", "@daily b", "x", 'MAILTO=""', "0 5 */2 * * c")).toEqual([
      "1: @reboot: no time of day can be told from it",
      `3: ${neither}`,
    ]);
  });
});
