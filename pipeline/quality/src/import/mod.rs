//! Rules of other tools as suites: DQDL of AWS Glue, and the generic tests of dbt. What cannot be taken is named.

mod dbt;
mod dqdl;

pub(crate) use self::dbt::suites as of_dbt;
pub(crate) use self::dqdl::suite as of_dqdl;
