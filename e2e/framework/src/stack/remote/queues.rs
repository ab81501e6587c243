//! Creates SQS queues and the notifications of buckets, and reads queues.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_s3::types::{
    Event, FilterRule, FilterRuleName, NotificationConfiguration, NotificationConfigurationFilter, QueueConfiguration,
    S3KeyFilter,
};
use aws_sdk_sqs::types::QueueAttributeName;

use super::Remote;
use crate::stack::{Notification, Queue, QueueDepth, Resources, StackError};

/// The most messages that SQS gives at once.
const BATCH: i32 = 10;

impl Remote {
    pub(super) async fn create_queues(&self, resources: &Resources) -> Result<(), StackError> {
        for (name, queue) in resources.queues_in_order() {
            self.create_queue(name, queue).await?;
        }
        Ok(())
    }

    async fn create_queue(&self, name: &str, queue: &Queue) -> Result<(), StackError> {
        let real = self.real(name);
        let action = || format!("creating queue {real}");
        let target = match &queue.dead_letters {
            Some(dead_letters) => self.queue_arn(&dead_letters.queue).await?,
            None => String::new(),
        };
        let attributes = queue.attributes(|_| Ok::<_, StackError>(target))?;
        let attributes = attributes.into_iter().map(|(name, value)| (name.as_str().into(), value)).collect();
        let created = self.sqs.create_queue().queue_name(&real).set_attributes(Some(attributes)).send().await;
        let url = created.map_err(|error| StackError::sdk(action(), error))?.queue_url;
        let url = url.ok_or_else(|| StackError::new(action(), "the answer has no URL"))?;
        self.created(|created| created.queues.insert(name.to_owned(), url));
        Ok(())
    }

    /// Finds the queue of a pipeline that runs already.
    pub(super) async fn find_queue(&self, name: &str) -> Result<(), StackError> {
        let action = || format!("finding queue {name}");
        let found = self.sqs.get_queue_url().queue_name(name).send().await;
        let url = found.map_err(|error| StackError::sdk(action(), error))?.queue_url;
        let url = url.ok_or_else(|| StackError::new(action(), "the answer has no URL"))?;
        self.created(|created| created.queues.insert(name.to_owned(), url));
        Ok(())
    }

    /// The URL of a queue that this test has created or found.
    fn queue_url(&self, name: &str) -> Result<String, StackError> {
        let url = self.created(|created| created.queues.get(name).cloned());
        url.ok_or_else(|| StackError::new(format!("using queue {name}"), "the test has not created it"))
    }

    async fn attributes(
        &self,
        name: &str,
        wanted: QueueAttributeName,
    ) -> Result<HashMap<QueueAttributeName, String>, StackError> {
        let request = self.sqs.get_queue_attributes().queue_url(self.queue_url(name)?).attribute_names(wanted);
        let answer = request.send().await;
        let answer =
            answer.map_err(|error| StackError::sdk(format!("reading the attributes of queue {name}"), error))?;
        Ok(answer.attributes.unwrap_or_default())
    }

    async fn queue_arn(&self, name: &str) -> Result<String, StackError> {
        let attributes = self.attributes(name, QueueAttributeName::QueueArn).await?;
        let arn = attributes.get(&QueueAttributeName::QueueArn).cloned();
        arn.ok_or_else(|| StackError::new(format!("reading the ARN of queue {name}"), "the answer has none"))
    }

    /// How many messages a queue has. SQS calls the numbers approximate; the services that stand in for AWS count
    /// exactly.
    pub(super) async fn depth(&self, name: &str) -> Result<QueueDepth, StackError> {
        let attributes = self.attributes(name, QueueAttributeName::All).await?;
        let number = |name| attributes.get(&name).and_then(|text: &String| text.parse().ok()).unwrap_or(0);
        Ok(QueueDepth {
            visible: number(QueueAttributeName::ApproximateNumberOfMessages),
            in_flight: number(QueueAttributeName::ApproximateNumberOfMessagesNotVisible),
            delayed: number(QueueAttributeName::ApproximateNumberOfMessagesDelayed),
        })
    }

    /// Sends a message to a queue.
    pub(super) async fn send(&self, name: &str, body: &str) -> Result<(), StackError> {
        let sent = self.sqs.send_message().queue_url(self.queue_url(name)?).message_body(body).send().await;
        sent.map(drop).map_err(|error| StackError::sdk(format!("sending a message to queue {name}"), error))
    }

    /// The bodies of the visible messages of a queue. They are received and made visible again.
    pub(super) async fn bodies(&self, name: &str) -> Result<Vec<String>, StackError> {
        let action = || format!("reading the messages of queue {name}");
        let url = self.queue_url(name)?;
        let mut bodies = BTreeMap::new();
        let mut receipts = Vec::new();
        loop {
            let request = self.sqs.receive_message().queue_url(&url).max_number_of_messages(BATCH);
            let answer = request.visibility_timeout(60).wait_time_seconds(0).send().await;
            let messages = answer.map_err(|error| StackError::sdk(action(), error))?.messages.unwrap_or_default();
            if messages.is_empty() {
                break;
            }
            for message in messages {
                receipts.extend(message.receipt_handle);
                bodies.insert(message.message_id.unwrap_or_default(), message.body.unwrap_or_default());
            }
        }
        for receipt in receipts {
            let request = self.sqs.change_message_visibility().queue_url(&url).receipt_handle(receipt);
            let shown = request.visibility_timeout(0).send().await;
            shown.map_err(|error| StackError::sdk(action(), error))?;
        }
        Ok(bodies.into_values().collect())
    }

    /// Lets buckets send an event for each object that is created in them.
    pub(super) async fn notify(&self, notifications: &[Notification]) -> Result<(), StackError> {
        let mut of_bucket: BTreeMap<&str, Vec<&Notification>> = BTreeMap::new();
        for notification in notifications {
            of_bucket.entry(&notification.bucket).or_default().push(notification);
        }
        for (bucket, notifications) in of_bucket {
            let bucket = self.real(bucket);
            let action = || format!("configuring the notifications of bucket {bucket}");
            let mut configuration = NotificationConfiguration::builder();
            for Notification { queue, prefix, suffix, .. } in notifications {
                let rules = [(FilterRuleName::Prefix, prefix), (FilterRuleName::Suffix, suffix)]
                    .map(|(name, value)| FilterRule::builder().name(name).value(value).build());
                let filter = S3KeyFilter::builder().set_filter_rules(Some(rules.into())).build();
                let queue = QueueConfiguration::builder()
                    .queue_arn(self.queue_arn(queue).await?)
                    .events(Event::S3ObjectCreated)
                    .filter(NotificationConfigurationFilter::builder().key(filter).build())
                    .build()
                    .map_err(|error| StackError::new(action(), error))?;
                configuration = configuration.queue_configurations(queue);
            }
            let put = self.s3.put_bucket_notification_configuration().bucket(&bucket);
            let put = put.notification_configuration(configuration.build()).send().await;
            put.map_err(|error| StackError::sdk(action(), error))?;
        }
        Ok(())
    }
}
