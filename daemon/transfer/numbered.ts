// What is under way, by number: the engine's transfers, the requests of worker-pool.ts and the workers' jobs. A Map would do
// the same at more cost: one table that it has outgrown and that has become old keeps alive the one behind it, and so on,
// and with them all that was in them. Of what comes and goes by the thousand nothing would die young.

/** More than can be under way at once. A number is a place in the array, and how often numbers were given before. */
const PLACES = 2 ** 20;
/** Of a place that is free. */
const NONE = -1;

/** Numbers are positive, and never given again. */
export class Numbered<T> {
  readonly #items: (T | undefined)[] = [];
  readonly #numbers: number[] = [];
  readonly #free: number[] = [];
  /** Places given so far. */
  #given = 0;
  #count = 0;
  #size = 0;

  /** How many there are. */
  get size(): number {
    return this.#size;
  }

  /** Answers the number of the new one. */
  add(item: T): number {
    const place = this.#free.pop() ?? this.#given++;
    if (place >= PLACES) throw new RangeError('too much is under way');
    this.#count += 1;
    const number = this.#count * PLACES + place;
    this.put(number, item);
    return number;
  }

  /** Puts it under a number that another one gives: it knows which are free. */
  put(number: number, item: T): void {
    const place = number % PLACES;
    while (this.#items.length <= place) {
      this.#items.push(undefined);
      this.#numbers.push(NONE);
    }
    this.#items[place] = item;
    this.#numbers[place] = number;
    this.#size += 1;
  }

  get(number: number): T | undefined {
    const place = number % PLACES;
    return this.#numbers[place] === number ? this.#items[place] : undefined;
  }

  /** Answers whether it was there. */
  delete(number: number): boolean {
    const place = number % PLACES;
    if (this.#numbers[place] !== number) return false;
    this.#items[place] = undefined;
    this.#numbers[place] = NONE;
    this.#size -= 1;
    if (place < this.#given) this.#free.push(place);
    return true;
  }

  /** Those that there are; some may be removed meanwhile. */
  *values(): Generator<T> {
    for (const [, item] of this.entries()) yield item;
  }

  *entries(): Generator<[number, T]> {
    for (const [place, item] of this.#items.entries()) {
      if (item !== undefined) yield [this.#numbers[place] ?? NONE, item];
    }
  }
}
