package postgres

// SetBounds makes the bounds of tables small.
func (d *DB) SetBounds(deployments, tombstones int) {
	d.maxDeployments, d.maxTombstones = deployments, tombstones
}
