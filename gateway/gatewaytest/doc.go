// Package gatewaytest is the conformance suite that every [gateway.Sender] passes.
//
// A gateway's tests bring a fake provider and a [Suite] that says how to provoke it; everything that a worker relies on
// is checked here, from one list ([Kinds]), so that no gateway can forget a point: a suite that neither covers a kind nor
// exempts it with a reason fails.
package gatewaytest
