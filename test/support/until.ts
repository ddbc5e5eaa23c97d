/** Waiting in real time, for what goes over sockets or between processes. */

const LIMIT_MS = 20_000;
const QUIET_TURNS = 16;
const TURN_MS = 5;

/**
 * Asks every 10 ms until it holds.
 * @param what for the failure's text
 * @throws Error after 20 s
 */
export async function until(
  holds: () => boolean | Promise<boolean>,
  what = 'what was waited for',
): Promise<void> {
  const end = Date.now() + LIMIT_MS;
  while (!(await holds())) {
    if (Date.now() > end) throw new Error(`${what} has not come in ${String(LIMIT_MS / 1000)} s`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/**
 * Long enough for whatever would come on loopback to have come: turns of the loop, in each of which something can, since on
 * a loaded machine there are few of them in a given time.
 */
export async function quiet(): Promise<void> {
  for (let turn = 0; turn < QUIET_TURNS; turn++) await new Promise((resolve) => setTimeout(resolve, TURN_MS));
}
