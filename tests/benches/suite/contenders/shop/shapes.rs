//! The statements: first those that read, then those of transactions.

use super::{
    Shape,
    cells::Column::{self, BigInt, Bool, Int, Tenant, Text, Time, Uuid},
    value::Parameter::{self, New, Now, Row},
};

/// Number of statements that read outside transactions.
pub const READS: usize = 17;

const CUSTOMER: &[Column] = &[Uuid, Tenant, Text, Bool, Int, Time];
const PRODUCT: &[Column] = &[Uuid, Tenant, Int, Int, Bool, Time];
const ORDER: &[Column] = &[Uuid, Uuid, Text, Int, Time];
const LINE: &[Column] = &[Uuid, Uuid, Uuid, Int, Int];
const INVOICE: &[Column] = &[Uuid, Uuid, Int, Bool, Time];
const PAYMENT: &[Column] = &[Uuid, Uuid, Int, Text, Time];

pub static SHAPES: [Shape; 25] = [
    shape(
        "SELECT id, name, email, active, credit, inserted_at FROM @.customers WHERE id = $1",
        &[Row],
        CUSTOMER,
    ),
    shape(
        "SELECT id, name, price, stock, active, updated_at FROM @.products WHERE id = $1",
        &[Row],
        PRODUCT,
    ),
    shape(
        "SELECT id, customer_id, status, total, placed_at FROM @.orders WHERE id = $1",
        &[Row],
        ORDER,
    ),
    shape(
        "SELECT id, order_id, number, sent, due_at FROM @.invoices WHERE id = $1",
        &[Row],
        INVOICE,
    ),
    shape(
        "SELECT id, invoice_id, amount, method, paid_at FROM @.payments WHERE id = $1",
        &[Row],
        PAYMENT,
    ),
    shape(
        "SELECT id, name, email, active, credit, inserted_at FROM @.customers WHERE active = $1 \
         ORDER BY inserted_at, id LIMIT 20",
        &[Parameter::Bool(true)],
        CUSTOMER,
    ),
    shape(
        "SELECT id, name, price, stock, active, updated_at FROM @.products \
         WHERE active = $1 AND price >= $2 ORDER BY price, id LIMIT 20",
        &[Parameter::Bool(true), Parameter::Int(100)],
        PRODUCT,
    ),
    shape(
        "SELECT id, customer_id, status, total, placed_at FROM @.orders WHERE customer_id = $1 \
         ORDER BY placed_at DESC LIMIT 20",
        &[Row],
        ORDER,
    ),
    shape(
        "SELECT id, order_id, product_id, quantity, price FROM @.order_lines WHERE order_id = $1 \
         ORDER BY id LIMIT 20",
        &[Row],
        LINE,
    ),
    shape(
        "SELECT l.id, l.quantity, l.price, p.id, p.name, p.stock FROM @.order_lines l \
         JOIN @.products p ON p.id = l.product_id WHERE l.order_id = $1 ORDER BY l.id LIMIT 20",
        &[Row],
        &[Uuid, Int, Int, Uuid, Tenant, Int],
    ),
    shape(
        "SELECT o.id, o.status, o.total, c.id, c.name, c.email FROM @.orders o \
         JOIN @.customers c ON c.id = o.customer_id WHERE o.id = $1",
        &[Row],
        &[Uuid, Text, Int, Uuid, Tenant, Text],
    ),
    shape(
        "SELECT id, order_id, number, sent, due_at FROM @.invoices WHERE order_id = $1 \
         ORDER BY id LIMIT 20",
        &[Row],
        INVOICE,
    ),
    shape(
        "SELECT id, invoice_id, amount, method, paid_at FROM @.payments WHERE invoice_id = $1 \
         ORDER BY id LIMIT 20",
        &[Row],
        PAYMENT,
    ),
    shape(
        "SELECT i.id, i.number, i.due_at, o.id, o.total FROM @.invoices i \
         JOIN @.orders o ON o.id = i.order_id WHERE i.sent = $1 AND i.due_at <= $2 \
         ORDER BY i.due_at, i.id LIMIT 20",
        &[Parameter::Bool(false), Now],
        &[Uuid, Int, Time, Uuid, Int],
    ),
    shape("SELECT count(*) FROM @.orders WHERE status = $1", &[Parameter::Text("open")], &[BigInt]),
    shape(
        "SELECT c.name, count(*), sum(o.total) FROM @.customers c \
         JOIN @.orders o ON o.customer_id = c.id WHERE c.id = $1 GROUP BY c.name",
        &[Row],
        &[Tenant, BigInt, BigInt],
    ),
    shape(
        "SELECT id, name, stock FROM @.products WHERE stock < $1 ORDER BY stock, id LIMIT 20",
        &[Parameter::Int(1000)],
        &[Uuid, Tenant, Int],
    ),
    // Statements of transactions from here on.
    shape(
        "SELECT id, name, email, active, credit, inserted_at FROM @.customers WHERE id = $1 \
         FOR UPDATE",
        &[Row],
        CUSTOMER,
    ),
    shape(
        "UPDATE @.customers SET credit = $2 WHERE id = $1 \
         RETURNING id, name, email, active, credit, inserted_at",
        &[Row, Parameter::Int(90)],
        CUSTOMER,
    ),
    shape(
        "INSERT INTO @.orders (id, customer_id, status, total, placed_at) \
         VALUES ($1, $2, $3, $4, $5) RETURNING id, customer_id, status, total, placed_at",
        &[New, Row, Parameter::Text("open"), Parameter::Int(1000), Now],
        ORDER,
    ),
    shape(
        "INSERT INTO @.order_lines (id, order_id, product_id, quantity, price) \
         VALUES ($1, $2, $3, $4, $5) RETURNING id, order_id, product_id, quantity, price",
        &[New, Row, Row, Parameter::Int(2), Parameter::Int(500)],
        LINE,
    ),
    shape(
        "UPDATE @.products SET name = $2, stock = $3, updated_at = $4 WHERE id = $1 \
         RETURNING id, name, price, stock, active, updated_at",
        &[Row, Parameter::Tenant, Parameter::Int(40), Now],
        PRODUCT,
    ),
    shape(
        "INSERT INTO @.invoices (id, order_id, number, sent, due_at) VALUES ($1, $2, $3, $4, $5) \
         RETURNING id, order_id, number, sent, due_at",
        &[New, Row, Parameter::Int(2), Parameter::Bool(false), Now],
        INVOICE,
    ),
    shape(
        "INSERT INTO @.payments (id, invoice_id, amount, method, paid_at) \
         VALUES ($1, $2, $3, $4, $5) RETURNING id, invoice_id, amount, method, paid_at",
        &[New, Row, Parameter::Int(1000), Parameter::Text("card"), Now],
        PAYMENT,
    ),
    shape(
        "UPDATE @.orders SET status = $2, total = $3 WHERE id = $1 \
         RETURNING id, customer_id, status, total, placed_at",
        &[Row, Parameter::Text("open"), Parameter::Int(1000)],
        ORDER,
    ),
];

const fn shape(
    sql: &'static str,
    parameters: &'static [Parameter],
    columns: &'static [Column],
) -> Shape {
    Shape { sql, parameters, columns }
}
