"use strict";

/* Fetches the page of /connections anew and takes what changes from it. What is being typed or chosen stays, and so does the focus. */
const seconds = Number(document.body.dataset.refresh);
let heard = new Date();

function find(id)
{
	return document.getElementById(id);
}

function lost(is)
{
	find("lost").hidden = !is;
	if (is)
		find("lost").textContent = `No answer from lapse-proxy since ${heard.toLocaleTimeString()}: what follows is from then. `
			+ `Asking again every ${seconds} s.`;
}

/* A row is one tab stop, the link in it that had the focus last; the arrow keys lead to the others. */
function enter(link)
{
	if (!link)
		return;
	for (const other of link.closest("tr").querySelectorAll("a"))
		other.tabIndex = other === link ? 0 : -1;
	link.focus();
}

function linkAt(row, column)
{
	return row && (row.cells[column].querySelector("a") || row.querySelector("a"));
}

function moved(event)
{
	const link = event.target.closest && event.target.closest("#rows td a");

	if (!link || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey)
		return;
	const row = link.closest("tr"), links = [...row.querySelectorAll("a")], at = links.indexOf(link);
	const to = {
		ArrowLeft: () => links[at - 1],
		ArrowRight: () => links[at + 1],
		ArrowUp: () => linkAt(row.previousElementSibling, link.closest("td").cellIndex),
		ArrowDown: () => linkAt(row.nextElementSibling, link.closest("td").cellIndex),
	}[event.key];

	if (!to)
		return;
	event.preventDefault();
	enter(to());
}

/* Where the focus is in the table, and its return there: to the same connection, or to the one that has taken its place. */
function focused()
{
	const cell = document.activeElement && document.activeElement.closest("#rows td");

	return cell && {id: cell.parentElement.id, row: cell.parentElement.sectionRowIndex, column: cell.cellIndex};
}

function refocus(place)
{
	const rows = find("rows").querySelectorAll("tbody tr");

	if (!place || !rows.length)
		return;
	enter(linkAt(find(place.id) || rows[Math.min(place.row, rows.length - 1)], place.column));
}

async function refresh()
{
	if (document.hidden)
		return;
	const answer = await fetch(location.href, {headers: {accept: "text/html"}, signal: AbortSignal.timeout(10000)});

	if (!answer.ok)
		throw new Error(answer.status);
	const page = new DOMParser().parseFromString(await answer.text(), "text/html");
	const place = focused(), x = scrollX, y = scrollY;

	for (const id of ["draining", "counts", "rows"]) {
		const fresh = page.getElementById(id);

		if (fresh.outerHTML !== find(id).outerHTML) /* what is the same is not told again to those who listen */
			find(id).replaceWith(fresh);
	}
	refocus(place);
	scrollTo(x, y);
	document.title = page.title;
	heard = new Date();
}

async function turn()
{
	await refresh().then(() => lost(false), () => lost(true));
	setTimeout(turn, seconds * 1000);
}

document.addEventListener("keydown", moved);
if (seconds)
	setTimeout(turn, seconds * 1000);
