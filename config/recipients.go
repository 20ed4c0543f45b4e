package config

// RecipientTypes lists the kinds of recipient to which g can deliver a push, in the order in which they are shown to people;
// none for a gateway that delivers no pushes.
func (g Gateway) RecipientTypes() []string {
	switch {
	case g.FCM != nil:
		return []string{"fcm", "topic", "condition"}
	case g.APNs != nil:
		return []string{"apns"}
	case g.HTTP != nil:
		return g.HTTP.RecipientTypes
	case g.Serves("push"): // sends nothing, and takes what any other takes
		return []string{"fcm", "apns", "topic", "condition"}
	default:
		return nil
	}
}
