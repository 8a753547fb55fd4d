// Owns the one text for a key and its queue: keys are unique among the live tasks of their queue.

/** No queue's name has a space, so that no two pairs have one text. */
export function keyName({ queue, key }: { readonly queue: string; readonly key: string | null }): string {
  return `${queue} ${key}`;
}
