package postgres

// Explained is what an operation makes of an error of the driver.
func Explained(err error) error { return About("do", "it").Wrap(err) }
