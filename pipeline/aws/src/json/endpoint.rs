//! Where a service is asked: at the endpoint that the configuration names, or else at AWS's own for the region.

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

use super::Service;

/// The domain of AWS's endpoints for the regions whose names begin so: the usual one, and that of endpoints with IPv6.
/// The first that fits counts; a region with none of these names belongs to the public partition.
const PARTITIONS: [(&str, &str, &str); 7] = [
    ("cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"),
    ("eusc-", "amazonaws.eu", "api.amazonwebservices.eu"),
    ("us-iso-", "c2s.ic.gov", "api.aws.ic.gov"),
    ("us-isob-", "sc2s.sgov.gov", "api.aws.scloud"),
    ("us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"),
    ("eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"),
    ("", "amazonaws.com", "api.aws"),
];

/// The URL of the endpoint, by the rules of every AWS SDK: `AWS_ENDPOINT_URL_GLUE` or the profile's setting for Glue, say,
/// else `AWS_ENDPOINT_URL`, else AWS's own. A URL that the program itself gave to the configuration comes before all.
/// `None` if there is neither a URL nor a region.
pub(super) fn url(config: &SdkConfig, service: Service) -> Option<String> {
    let named = || {
        let key = ServiceConfigKey::builder().service_id(service.id).env("AWS_ENDPOINT_URL").profile("endpoint_url");
        config.service_config()?.load_config(key.build().ok()?)
    };
    let own = config.endpoint_url().map(ToOwned::to_owned);
    let given = if config.get_origin("endpoint_url").is_client_config() { own } else { named().or(own) };
    given.or_else(|| {
        let region = config.region()?;
        let (fips, dual_stack) = (config.use_fips().unwrap_or(false), config.use_dual_stack().unwrap_or(false));
        Some(aws(service.name, region.as_ref(), fips, dual_stack))
    })
}

fn aws(service: &str, region: &str, fips: bool, dual_stack: bool) -> String {
    let partition = PARTITIONS.iter().find(|(prefix, ..)| region.starts_with(prefix));
    let domain = partition.map_or("amazonaws.com", |(_, usual, dual)| if dual_stack { dual } else { usual });
    format!("https://{service}{}.{region}.{domain}", if fips { "-fips" } else { "" })
}

#[cfg(test)]
mod tests {
    use aws_config::Region;

    use super::*;

    const GLUE: Service = Service { id: "Glue", name: "glue", target: "AWSGlue" };

    #[test]
    fn the_endpoint_is_that_of_the_regions_partition() {
        assert_eq!(aws("glue", "ap-northeast-2", false, false), "https://glue.ap-northeast-2.amazonaws.com");
        assert_eq!(aws("glue", "cn-north-1", false, false), "https://glue.cn-north-1.amazonaws.com.cn");
        assert_eq!(aws("glue", "us-gov-west-1", true, false), "https://glue-fips.us-gov-west-1.amazonaws.com");
        assert_eq!(aws("glue", "us-isob-east-1", false, false), "https://glue.us-isob-east-1.sc2s.sgov.gov");
        assert_eq!(aws("redshift-data", "eu-west-1", false, false), "https://redshift-data.eu-west-1.amazonaws.com");
        assert_eq!(aws("glue", "eu-west-1", false, true), "https://glue.eu-west-1.api.aws");
    }

    #[test]
    fn a_url_comes_before_the_region() {
        let region = || SdkConfig::builder().region(Region::new("eu-west-1"));
        assert_eq!(url(&region().build(), GLUE).as_deref(), Some("https://glue.eu-west-1.amazonaws.com"));
        let with_url = region().endpoint_url("http://127.0.0.1:1").build();
        assert_eq!(url(&with_url, GLUE).as_deref(), Some("http://127.0.0.1:1"));
        assert_eq!(url(&SdkConfig::builder().build(), GLUE), None);
    }
}
