/** Waiting in real time, for what goes over sockets or between processes. */

const LIMIT_MS = 20_000;

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
