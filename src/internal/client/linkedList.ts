/**
 * A list that items join at its end and leave from anywhere, in constant time. A Set would do, but one that is never
 * empty for long keeps alive what has left it, by the tables that it outgrew.
 */
export interface Node<A> {
  readonly item: A
  before: Node<A> | undefined
  behind: Node<A> | undefined
  isLinked: boolean
}

export class LinkedList<A> {
  first: Node<A> | undefined
  size = 0
  private last: Node<A> | undefined

  push(item: A): Node<A> {
    const node: Node<A> = { item, before: this.last, behind: undefined, isLinked: true }
    if (this.last === undefined) this.first = node
    else this.last.behind = node
    this.last = node
    this.size += 1
    return node
  }

  /** Returns whether the node was still linked. */
  remove(node: Node<A>): boolean {
    if (!node.isLinked) return false
    const { before, behind } = node
    if (before === undefined) this.first = behind
    else before.behind = behind
    if (behind === undefined) this.last = before
    else behind.before = before
    node.before = undefined
    node.behind = undefined
    node.isLinked = false
    this.size -= 1
    return true
  }
}
