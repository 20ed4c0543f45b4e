// Package gatewaytest is the conformance suite that every [gateway.Sender] passes.
//
// The tests of a gateway bring a fake provider and a [Suite] that describes how to provoke its faults. The suite checks everything
// on which the worker relies, from one list ([Kinds]). No gateway can omit a point: a suite fails if it neither covers a kind nor
// exempts it with a reason.
package gatewaytest
