package join

// Slots is how many ends there is memory for.
func (j *Joiner[T]) Slots() int { return len(j.table.slots) }
