// Gathers what one turn of the event loop has to say into one message: a message between threads costs more than what
// is in it. Both sides of worker-pool.ts use it.

export class Outbox<T> {
  readonly #post: (items: readonly T[]) => void;
  #items: T[] = [];

  constructor(post: (items: readonly T[]) => void) {
    this.#post = post;
  }

  add(item: T): void {
    this.#items.push(item);
    if (this.#items.length > 1) return;
    setImmediate(() => {
      this.flush();
    });
  }

  flush(): void {
    if (this.#items.length === 0) return;
    const items = this.#items;
    this.#items = [];
    this.#post(items);
  }
}
