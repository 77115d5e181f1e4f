//! Every family of SeaORM operation through a tenant handle reads and writes only its tenant.
