package embedded

// Check does what [Broker.Run] does at each tick.
func (b *Broker) Check() { b.check() }
