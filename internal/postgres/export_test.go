package postgres

// SetBounds makes the bounds of tables small.
func (d *DB) SetBounds(deployments, tombstones int) {
	d.maxDeployments, d.maxTombstones = deployments, tombstones
}

// Explained is what an operation makes of an error of the driver.
func Explained(err error) error { return subject{"do", "it"}.wrap(err) }
