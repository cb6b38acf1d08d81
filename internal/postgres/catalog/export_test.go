package catalog

// SetBounds makes the bounds of tables small.
func (s *Stores) SetBounds(deployments, tombstones int) {
	s.maxDeployments, s.maxTombstones = deployments, tombstones
}

// SetMaxVersions makes the bound of versions small.
func (s *Stores) SetMaxVersions(n int) { s.maxVersions = n }

// Sealing is how much longer a sealed value is taken to be than the value.
const Sealing = sealing
