/** The flags of a process: what is wrong with them is one sentence for the person at the terminal. */
import { type ParseArgsConfig, parseArgs } from 'node:util';

/**
 * As `parseArgs` reads them.
 * @throws Error whose message is one sentence.
 */
export function readFlags<const Config extends ParseArgsConfig>(
  config: Config,
): ReturnType<typeof parseArgs<Config>>['values'] {
  try {
    return parseArgs(config).values;
  } catch (error) {
    // Node's own second sentence is advice that does not apply here.
    const [sentence = 'The flags cannot be read'] = (error as Error).message.split(/\.(?:\s|$)/);
    throw new Error(`${sentence}.`, { cause: error });
  }
}

/**
 * @param flag without its dashes
 * @throws Error whose message is one sentence.
 */
export function portNumber(flag: string, text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port > 65_535)
    throw new Error(`--${flag} must be a port number from 0 to 65535, not "${text}".`);
  return port;
}
